//! A Go program's file, opened for planning.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::path::Path;

use loiter::object::elf::Image;
use loiter::object::pclntab::Table;
use loiter::runtime::go::layout::Layout;
use loiter::runtime::go::plan::{GoProgram, PlanError, linked_table, plan};
use loiter::runtime::plan::ProbePlan;

pub struct Program {
    pub bytes: Vec<u8>,
    pub image: Image,
    pub table: Table,
    pub layout: &'static Layout,
}

impl Program {
    /// Opens the file of a program that this Go version built.
    pub fn open(version: &str, path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let image = Image::parse(&bytes).unwrap();
        let layout = Layout::for_version(version).unwrap();
        let table = linked_table(&image, &bytes, layout)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { bytes, image, table, layout }
    }

    pub fn plan(&self) -> Result<ProbePlan, PlanError> {
        plan(&GoProgram {
            image: &self.image,
            source: &self.bytes,
            table: &self.table,
            layout: self.layout,
        })
    }
}
