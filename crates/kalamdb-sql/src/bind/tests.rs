//! SQL to output names, types and parameter types, or an error: as PostgreSQL 15 answers.
