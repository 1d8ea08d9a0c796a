//! The `genflow` binary.

fn main() {}
