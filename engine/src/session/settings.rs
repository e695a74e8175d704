//! Settings (GUCs) of a session.
