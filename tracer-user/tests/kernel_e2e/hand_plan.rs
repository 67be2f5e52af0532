//! A probe plan for Go 1.27 on amd64 made by hand, so that the kernel layer is tested without the
//! planner: in a binary with symbols it takes the first `push rbp` of the function (the one after the
//! stack check), and the call of `runqput` in newproc's closure.

use std::path::Path;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, Register as R};
use loiter::runtime::plan::{Emulated, Location, ProbePlan, Register, Site, SiteKind};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use tracer_common::config::TargetConfig;

/// The layout of `g` and `m` in Go 1.27.3. Source: DWARF of a program built by it.
pub const GO_1_27: TargetConfig = TargetConfig {
    min_wait_ns: 0,
    g_goid: 152,
    g_parent: 280,
    g_gopc: 288,
    g_startpc: 304,
    g_waitreason: 176,
    g_tracking_seq: 191,
    g_m: 48,
    m_curg: 184,
};

struct Text<'a> {
    file: object::File<'a>,
    bytes: &'a [u8],
}

impl Text<'_> {
    fn function(&self, name: &str) -> (u64, u64) {
        let symbol = self.file.symbols().find(|s| s.name() == Ok(name));
        let symbol = symbol.unwrap_or_else(|| panic!("no symbol {name}"));
        (symbol.address(), symbol.size())
    }

    fn file_offset(&self, address: u64) -> u64 {
        let section = self.file.section_by_name(".text").unwrap();
        address - section.address() + section.file_range().unwrap().0
    }

    fn instructions(&self, name: &str) -> Vec<Instruction> {
        let (address, size) = self.function(name);
        let start = self.file_offset(address) as usize;
        let code = &self.bytes[start..start + size as usize];
        Decoder::with_ip(64, code, address, DecoderOptions::NONE).into_iter().collect()
    }

    fn site(&self, kind: SiteKind, function: &str, at: &Instruction, location: Register) -> Site {
        let offset = self.file_offset(at.ip());
        let bytes = &self.bytes[offset as usize..offset as usize + at.len()];
        Site {
            kind,
            function: function.into(),
            address: at.ip(),
            file_offset: offset,
            instruction: if at.mnemonic() == Mnemonic::Call {
                Emulated::Call
            } else {
                Emulated::Push
            },
            bytes: bytes.into(),
            text: format!("{:?}", at.mnemonic()).into(),
            location: Location::Register(location),
            why: "chosen by hand".into(),
        }
    }
}

/// The plan for a binary with symbols.
pub fn plan(binary: &Path) -> ProbePlan {
    let bytes = std::fs::read(binary).unwrap();
    let text = Text { file: object::File::parse(&*bytes).unwrap(), bytes: &bytes };
    let mut sites = Vec::new();
    let (runqput, _) = text.function("runtime.runqput");
    let closure = "runtime.newproc.func1";
    let call = text
        .instructions(closure)
        .into_iter()
        .find(|i| i.mnemonic() == Mnemonic::Call && i.near_branch_target() == runqput)
        .unwrap();
    sites.push(text.site(SiteKind::Birth, closure, &call, Register::Rbx));
    for (kind, function) in [
        (SiteKind::Death, "runtime.gdestroy"),
        (SiteKind::Park, "runtime.park_m"),
        (SiteKind::Run, "runtime.execute"),
        (SiteKind::Ready, "runtime.ready"),
    ] {
        let push = text
            .instructions(function)
            .into_iter()
            .find(|i| i.mnemonic() == Mnemonic::Push && i.op0_register() == R::RBP)
            .unwrap();
        sites.push(text.site(kind, function, &push, Register::Rax));
    }
    ProbePlan { sites, degraded: Vec::new() }
}

/// Addresses of a function.
pub fn range(binary: &Path, function: &str) -> std::ops::Range<u64> {
    let bytes = std::fs::read(binary).unwrap();
    let text = Text { file: object::File::parse(&*bytes).unwrap(), bytes: &bytes };
    let (address, size) = text.function(function);
    address..address + size
}
