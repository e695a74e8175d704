//! lockstep replication
