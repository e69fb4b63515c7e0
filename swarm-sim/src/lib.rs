//! Many nodes on one virtual clock: scenarios that replay from a seed
