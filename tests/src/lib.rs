//! End-to-end tests: real clients against a real broker process.
