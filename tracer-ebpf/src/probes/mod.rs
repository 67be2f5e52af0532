//! The programs.

mod go;
mod process;
mod registers;
