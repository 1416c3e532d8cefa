//! Bytes to frames and back.
//!
//! amq-protocol decodes method arguments and tables; frame headers, the hot methods and the hot encoders are our own.
//! Nothing here knows sockets, locks, channels' states or queues. Called by the session, and by the engine for
//! messages and their properties.

pub mod frame;
pub mod message;
pub mod method;
pub mod out_buffer;
pub mod properties;
pub mod table;

mod cursor;
