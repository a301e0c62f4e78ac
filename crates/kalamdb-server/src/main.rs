//! kalamdb-server
fn main() {}
