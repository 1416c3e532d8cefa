//! What the peer needs to know of methods: how they are wrapped, and what answers them.

use std::fmt::Debug;

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx};

/// A method of AMQP 0-9-1.
pub(crate) trait Method: Debug + Sized {
    /// The method among all others.
    fn wrap(self) -> AMQPClass;
    /// The other way round; none for another method.
    fn unwrap_from(class: AMQPClass) -> Option<Self>;
}

/// A method that is answered.
pub(crate) trait Request: Method {
    /// The answer.
    type Ok: Method;
}

macro_rules! methods {
    ($($class:ident $variant:ident: $($method:ident)*;)*) => {$($(
        impl Method for $class::$method {
            fn wrap(self) -> AMQPClass {
                AMQPClass::$variant($class::AMQPMethod::$method(self))
            }

            fn unwrap_from(class: AMQPClass) -> Option<Self> {
                match class {
                    AMQPClass::$variant($class::AMQPMethod::$method(method)) => Some(method),
                    _ => None,
                }
            }
        }
    )*)*};
}

macro_rules! requests {
    ($($class:ident: $($method:ident => $ok:ident)*;)*) => {$($(
        impl Request for $class::$method {
            type Ok = $class::$ok;
        }
    )*)*};
}

methods! {
    access Access: Request RequestOk;
    basic Basic: Qos QosOk Consume ConsumeOk Cancel CancelOk Publish Return Deliver Get GetOk GetEmpty Ack Reject
        RecoverAsync Recover RecoverOk Nack;
    channel Channel: Open OpenOk Flow FlowOk Close CloseOk;
    confirm Confirm: Select SelectOk;
    connection Connection: Start StartOk Tune TuneOk Open OpenOk Close CloseOk Blocked Unblocked UpdateSecret
        UpdateSecretOk;
    exchange Exchange: Declare DeclareOk Delete DeleteOk Bind BindOk Unbind UnbindOk;
    queue Queue: Declare DeclareOk Bind BindOk Purge PurgeOk Delete DeleteOk Unbind UnbindOk;
    tx Tx: Select SelectOk Commit CommitOk Rollback RollbackOk;
}

requests! {
    access: Request => RequestOk;
    basic: Qos => QosOk Consume => ConsumeOk Cancel => CancelOk Recover => RecoverOk;
    channel: Open => OpenOk Flow => FlowOk Close => CloseOk;
    confirm: Select => SelectOk;
    connection: Open => OpenOk Close => CloseOk UpdateSecret => UpdateSecretOk;
    exchange: Declare => DeclareOk Delete => DeleteOk Bind => BindOk Unbind => UnbindOk;
    queue: Declare => DeclareOk Bind => BindOk Purge => PurgeOk Delete => DeleteOk Unbind => UnbindOk;
    tx: Select => SelectOk Commit => CommitOk Rollback => RollbackOk;
}
