//! An ergonomic layer over lapin for any AMQP 0-9-1 broker.
