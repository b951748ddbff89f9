//! Tests alone: `tests/`.
