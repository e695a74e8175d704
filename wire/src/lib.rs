//! lockstep wire
