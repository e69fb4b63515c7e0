//! SWIM membership that speaks HashiCorp memberlist, and replicated per-network tables
