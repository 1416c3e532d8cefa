//! Bytes to frames and back.
//!
//! amq-protocol decodes method arguments and tables; frame headers, the hot methods and the hot encoders are our own.
//! Nothing here knows sockets, locks, channels' states or queues. Called by the session, and by the engine for
//! messages and their properties.

pub mod message;
