//! An embeddable swarm node: manager, worker and data plane composed
