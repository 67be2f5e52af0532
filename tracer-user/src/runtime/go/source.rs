//! Lets the parsers of `object` read the files of `target`.

use crate::object::{ByteSource, SourceError};
use crate::target::FileAt;

impl ByteSource for FileAt {
    fn len(&self) -> u64 {
        FileAt::len(self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        let len = buf.len() as u64;
        FileAt::read_at(self, offset, buf).map_err(|error| match error.raw_os_error() {
            Some(errno) => SourceError::Os { offset, len, errno },
            None => SourceError::PastEnd { offset, len, end: FileAt::len(self) },
        })
    }
}
