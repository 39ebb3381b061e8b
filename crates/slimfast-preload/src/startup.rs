//! Finds the dispenser's name in the environment, once, while the library is loaded and the process has one thread.
//!
//! Later would be too late: programs change their environment from other threads, and those that set their process
//! title write over the memory that /proc/self/environ shows.

use core::ffi::{c_char, c_int};

use crate::dispenser;

/// `SLIMFAST_DISPENSER`, which the launcher sets.
const VARIABLE: &[u8] = b"SLIMFAST_DISPENSER=";

/// The address of a symbol, or 0 if nothing in the process defines it.
#[cfg(target_arch = "x86_64")]
macro_rules! weak_address {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: reads an entry of our own global offset table.
        unsafe {
            core::arch::asm!(
                concat!(".weak ", $symbol),
                concat!("mov {}, qword ptr [rip + ", $symbol, "@GOTPCREL]"),
                out(reg) address,
                options(nostack, preserves_flags),
            );
        }
        address
    }};
}

/// The address of a symbol, or 0 if nothing in the process defines it.
#[cfg(target_arch = "aarch64")]
macro_rules! weak_address {
    ($symbol:literal) => {{
        let address: usize;
        // SAFETY: reads an entry of our own global offset table.
        unsafe {
            core::arch::asm!(
                concat!(".weak ", $symbol),
                concat!("adrp {0}, :got:", $symbol),
                concat!("ldr {0}, [{0}, :got_lo12:", $symbol, "]"),
                out(reg) address,
                options(nostack, preserves_flags),
            );
        }
        address
    }};
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char) = at_load;

/// glibc passes main's arguments to constructors, and may not have set `environ` yet. musl passes nothing, and has.
unsafe extern "C" fn at_load(_count: c_int, _arguments: *const *const c_char, environment: *const *const c_char) {
    let environment = if weak_address!("gnu_get_libc_version") != 0 {
        environment
    } else {
        let variable = weak_address!("environ") as *const *const *const c_char;
        // SAFETY: if the symbol exists it is the C library's variable; no other thread exists yet that could change it.
        if variable.is_null() { core::ptr::null() } else { unsafe { *variable } }
    };
    // SAFETY: the C library's environment: an array of strings that a null pointer ends, unchanged while we read.
    if let Some(name) = unsafe { find(environment) } {
        dispenser::set(name);
    }
}

/// What our variable says.
///
/// # Safety
/// `environment` must be null or an array of C strings that a null pointer ends.
unsafe fn find(environment: *const *const c_char) -> Option<dispenser::Name> {
    let mut at = environment;
    // SAFETY: the caller vouches for the array, and the loop does not go past the null pointer at its end.
    while !at.is_null() && !unsafe { *at }.is_null() {
        // SAFETY: as above; the caller vouches for the strings.
        if let Some(value) = unsafe { value_of_ours(*at) } {
            // SAFETY: the rest of a C string is one.
            return unsafe { parse(value) };
        }
        // SAFETY: the end has not been reached.
        at = unsafe { at.add(1) };
    }
    None
}

/// The value, if the entry is our variable's.
///
/// # Safety
/// `entry` must be a C string.
unsafe fn value_of_ours(entry: *const c_char) -> Option<*const c_char> {
    let mut at = entry;
    for &expected in VARIABLE {
        // SAFETY: all bytes before were equal to those of VARIABLE, which has no NUL: the string's end is not passed.
        unsafe {
            if *at as u8 != expected {
                return None;
            }
            at = at.add(1);
        }
    }
    Some(at)
}

/// Reads `FD:ST_DEV:ST_INO`, decimal.
///
/// # Safety
/// `value` must be a C string.
unsafe fn parse(value: *const c_char) -> Option<dispenser::Name> {
    // SAFETY: each call starts where the one before stopped, behind a byte that is not the string's end.
    unsafe {
        let (fd, at) = number(value, b':')?;
        let (dev, at) = number(at, b':')?;
        let (ino, _) = number(at, 0)?;
        Some(dispenser::Name { fd: c_int::try_from(fd).ok()?, dev, ino })
    }
}

/// A number of at least one digit that `end` follows, and where it goes on behind that.
///
/// # Safety
/// `value` must be a C string. What is returned is one only if `end` is not 0.
unsafe fn number(value: *const c_char, end: u8) -> Option<(u64, *const c_char)> {
    let mut number = 0u64;
    let mut at = value;
    loop {
        // SAFETY: no byte before this one was the string's end.
        let byte = unsafe { *at } as u8;
        // SAFETY: `byte` is at most the string's end, and one behind that may be pointed to.
        let next = unsafe { at.add(1) };
        match byte {
            b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            _ if byte == end && at != value => return Some((number, next)),
            _ => return None,
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entry: &str) -> Option<(c_int, u64, u64)> {
        let entry = std::ffi::CString::new(entry).unwrap();
        let array = [c"PATH=/bin".as_ptr(), c"SLIMFAST_DISPENSERS=1:2:3".as_ptr(), entry.as_ptr(), core::ptr::null()];
        // SAFETY: an array of C strings with a null pointer at its end.
        unsafe { find(array.as_ptr()) }.map(|name| (name.fd, name.dev, name.ino))
    }

    #[test]
    fn the_name_is_found_among_other_variables() {
        assert_eq!(read("SLIMFAST_DISPENSER=1000:8:18446744073709551615"), Some((1000, 8, u64::MAX)));
        assert_eq!(read("SLIMFAST_DISPENSE=1:2:3"), None);
        // SAFETY: null is allowed.
        assert!(unsafe { find(core::ptr::null()) }.is_none());
    }

    #[test]
    fn other_values_are_none() {
        let bad = [
            "",
            ":",
            "::",
            "1",
            "1:2",
            "1:2:",
            "1:2:3:",
            "1:2:3 ",
            " 1:2:3",
            "-1:2:3",
            "a:2:3",
            "1:2:x",
            "1::3",
            ":2:3",
            "1:2:3:4",
            "4294967296:2:3",
            "2147483648:1:1",
            "1:18446744073709551616:3",
        ];
        for value in bad {
            assert_eq!(read(&format!("SLIMFAST_DISPENSER={value}")), None, "{value}");
        }
    }

    /// What is read is what it says, whatever else is tried.
    #[test]
    fn any_value_is_survived() {
        let mut random = crate::tests::random();
        let mut found = 0;
        for _ in 0..50_000 {
            let value: String = (0..random(16)).map(|_| char::from(b"0123456789:::9 -x"[random(17)])).collect();
            let parts: Vec<_> = value.split(':').collect();
            let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit()) && part.parse::<u64>().is_ok();
            let expected = match parts[..] {
                [fd, dev, ino] if [fd, dev, ino].iter().all(is_number) => fd.parse::<c_int>().ok(),
                _ => None,
            };
            let got = read(&format!("SLIMFAST_DISPENSER={value}"));
            assert_eq!(got.map(|(fd, ..)| fd), expected, "{value:?}");
            if let Some((_, dev, ino)) = got {
                assert_eq!(
                    (dev.to_string().parse(), ino.to_string().parse()),
                    (parts[1].parse::<u64>(), parts[2].parse::<u64>())
                );
                found += 1;
            }
        }
        assert!(found > 100, "{found} were names");
    }

    #[test]
    fn weak_symbols_are_found_or_zero() {
        assert_ne!(weak_address!("environ"), 0);
        assert_eq!(weak_address!("slimfast_no_such_symbol"), 0);
    }
}
