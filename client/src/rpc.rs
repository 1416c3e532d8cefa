//! Remote calls over queues: a server works on the requests of a queue, a client gets the answers. One file for each side,
//! and one for how answers are written.

mod answer;
mod client;
mod options;
mod server;

pub use answer::CallError;
pub use client::RpcClient;
pub use options::RpcOptions;
pub use server::RpcServer;
