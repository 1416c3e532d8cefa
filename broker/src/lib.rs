//! An AMQP 0-9-1 message broker as a library.
