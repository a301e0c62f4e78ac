//! kalamdb-pgwire
