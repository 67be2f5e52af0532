//! Raw bytes from the ring -> checked records. Whatever arrives, this does not panic: a record of
//! an unknown kind or a wrong length is an error to be counted.
