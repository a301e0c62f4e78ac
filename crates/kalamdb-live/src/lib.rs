//! kalamdb-live
