//! What a swarm is: nodes, networks, services and tasks, and the pure functions that move them
