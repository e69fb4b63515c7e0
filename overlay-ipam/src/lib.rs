//! Subnets and addresses as a deterministic state machine: nothing is handed out twice
