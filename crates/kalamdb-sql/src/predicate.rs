//! Bound expressions over one relation's row plus carried columns: for re-checks after a lock, SET expressions,
//! ON CONFLICT, RETURNING, live queries.
