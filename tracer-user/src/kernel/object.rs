//! The kernel part as it was embedded at build time (build.rs).

use super::KernelError;

include!(concat!(env!("OUT_DIR"), "/kernel_object.rs"));

/// What is known of the embedded kernel part, for `--version` and doctor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// XXH3 of the object, in hex.
    pub digest: String,
    /// Its size in bytes.
    pub size: usize,
    /// The compiler that made it.
    pub compiler: &'static str,
}

/// The object's bytes.
///
/// # Errors
/// [`KernelError::NotBuilt`] if this binary was built without it.
pub fn bytes() -> Result<&'static [u8], KernelError> {
    BYTES.ok_or(KernelError::NotBuilt)
}

/// What is known of the object; None if this binary was built without it.
pub fn info() -> Option<ObjectInfo> {
    BYTES.map(|bytes| ObjectInfo {
        digest: format!("{:016x}", xxhash_rust::xxh3::xxh3_64(bytes)),
        size: bytes.len(),
        compiler: COMPILER,
    })
}
