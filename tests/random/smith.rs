//! Debian's sqlsmith pointed at the server.
