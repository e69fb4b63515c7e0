//! A replicated, durable log: raft consensus behind plain types
