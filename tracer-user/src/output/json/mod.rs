//! JSON: stable, documented, with a `schema` key.
