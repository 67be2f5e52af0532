//! Notes of an ELF file, as far as they name the build.
//!
//! Layout: System V ABI, "Note Section": name size, description size, type, then name and
//! description, each padded to 4. Types: NT_GNU_BUILD_ID of the GNU ABI; Go's own from
//! src/cmd/link/internal/ld/elf.go (`ELF_NOTE_GOBUILDID_TAG`).

use super::bytes::u32_at;

/// The ids that name a build.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BuildIds {
    /// NT_GNU_BUILD_ID, in hex.
    pub gnu: Option<Box<str>>,
    /// Go's build id as written, such as `abc/def/ghi/jkl`.
    pub go: Option<Box<str>>,
}

/// Bytes of an id that are taken: GNU's has 20, Go's 83.
const MAX_ID: usize = 256;
const NT_GNU_BUILD_ID: u32 = 3;
const NT_GO_BUILD_ID: u32 = 4;

impl BuildIds {
    /// Takes the ids from the contents of a note segment; those found first stay.
    pub(super) fn add(&mut self, notes: &[u8]) {
        let mut rest = notes;
        while let Some((note, behind)) = Note::first(rest) {
            rest = behind;
            let id = note.description.get(..MAX_ID).unwrap_or(note.description);
            match (note.name, note.kind) {
                (b"GNU\0", NT_GNU_BUILD_ID) => {
                    let hex: String = id.iter().map(|b| format!("{b:02x}")).collect();
                    self.gnu.get_or_insert(hex.into());
                }
                (b"Go\0\0", NT_GO_BUILD_ID) => {
                    self.go.get_or_insert(String::from_utf8_lossy(id).into());
                }
                _ => {}
            }
        }
    }
}

struct Note<'n> {
    name: &'n [u8],
    kind: u32,
    description: &'n [u8],
}

impl<'n> Note<'n> {
    /// The first note, and what is behind it.
    fn first(notes: &'n [u8]) -> Option<(Self, &'n [u8])> {
        let name_len = usize::try_from(u32_at(notes, 0)?).ok()?;
        let description_len = usize::try_from(u32_at(notes, 4)?).ok()?;
        let kind = u32_at(notes, 8)?;
        let (name, rest) = padded(notes.get(12..)?, name_len)?;
        let (description, rest) = padded(rest, description_len)?;
        Some((Self { name, kind, description }, rest))
    }
}

/// The first `len` bytes, and what is behind them and their padding.
fn padded(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    let behind = len.checked_next_multiple_of(4)?;
    Some((bytes.get(..len)?, bytes.get(behind..).unwrap_or_default()))
}
