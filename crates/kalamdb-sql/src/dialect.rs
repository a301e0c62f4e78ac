//! The parser's dialect: PostgreSQL's, with what is ours.
