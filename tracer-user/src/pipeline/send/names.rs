//! Names of receivers. May use: the C library's.

use std::ffi::{c_char, c_int};
use std::sync::Once;

unsafe extern "C" {
    /// nss/nsswitch.c of glibc.
    fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
}

/// Asks for names in `/etc/hosts` and by DNS alone, both of which the static binary has inside (glibc from 2.34 on):
/// whatever else the host's nsswitch.conf names would be loaded into it, made for another C library. To be
/// called before a name is looked up.
pub fn look_up_without_modules() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: two strings that end with NUL and stay; no other thread looks names up.
        let refused = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
        if refused != 0 {
            tracing::debug!("names are looked up as nsswitch.conf says");
        }
    });
}
