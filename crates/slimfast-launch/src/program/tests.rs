//! Linkage of real and of made-up files.

use std::os::unix::fs::OpenOptionsExt;

use super::*;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("slimfast-launch-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        use std::io::Write;
        let path = self.0.join(name);
        let mut file = std::fs::OpenOptions::new().create(true).write(true).mode(mode).open(&path).unwrap();
        file.write_all(content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn this_test_is_dynamic() {
    assert_eq!(linkage(&std::env::current_exe().unwrap()), Linkage::Dynamic);
}

#[test]
fn scripts_are_what_their_interpreter_is() {
    let scratch = Scratch::new("scripts");
    let script = scratch.write("script", b"#! /bin/sh -e\nexit 0\n", 0o755);
    assert_eq!(linkage(&script), Linkage::Dynamic);
    let nested = scratch.write("nested", format!("#!{}\n", script.display()).as_bytes(), 0o755);
    assert_eq!(linkage(&nested), Linkage::Dynamic);
    assert_eq!(linkage(&scratch.write("plain", b"exit 0\n", 0o755)), Linkage::Dynamic);
    let own = scratch.0.join("circle");
    let circle = scratch.write("circle", format!("#!{}\n", own.display()).as_bytes(), 0o755);
    assert_eq!(linkage(&circle), Linkage::Other);
    assert_eq!(linkage(&scratch.write("gone", b"#!/no/such/file\n", 0o755)), Linkage::Other);
}

#[test]
fn broken_elf_files_are_not_dynamic() {
    let scratch = Scratch::new("elf");
    let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    for length in [4, 20, 63, 64, 70] {
        assert_eq!(linkage(&scratch.write(&format!("cut{length}"), &whole[..length], 0o755)), Linkage::Other);
    }
    for (name, at, value) in [("class", 4, 1), ("machine", 18, 3), ("size", 54, 0), ("offset", 39, 0xff)] {
        let mut changed = whole[..4096].to_vec();
        changed[at] = value;
        assert_eq!(linkage(&scratch.write(name, &changed, 0o755)), Linkage::Other, "{name}");
    }
}

#[test]
fn commands_are_found_as_execvp_finds_them() {
    assert!(find(OsStr::new("sh")).unwrap().ends_with("sh"));
    assert_eq!(find(OsStr::new("/bin/sh")).unwrap(), Path::new("/bin/sh"));
    assert_eq!(find(OsStr::new("no-such-command")).unwrap_err().exit_code(), 127);
    assert_eq!(find(OsStr::new("/no/such/command")).unwrap_err().exit_code(), 127);
    assert_eq!(find(OsStr::new("")).unwrap_err().exit_code(), 127);
    assert_eq!(find(OsStr::new("/")).unwrap_err().exit_code(), 126);
    let scratch = Scratch::new("find");
    let plain = scratch.write("plain", b"", 0o644);
    assert_eq!(find(plain.as_os_str()).unwrap_err().exit_code(), 126);
}
