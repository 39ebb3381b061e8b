//! Where a node's maps and links are kept when no process has them open: a directory of the BPF file system.
//!
//! ```text
//! DIRECTORY/live/maps/NAME    from the moment that everything is attached
//! DIRECTORY/live/links/NAME   named after their programs
//! DIRECTORY/new/…             while that is prepared; renamed as a whole
//! ```
//!
//! A map is taken over as it is if its layout is what the new programs were compiled with.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use libbpf_rs::{Link, MapCore as _, MapHandle, MapInfo, Object, OpenObject};

use super::bpf_error;
use crate::error::{Error, Result};

/// Begin with their object's name; their contents belong to the programs of one object, and go with it.
const OWN_SECTIONS: [&str; 3] = [".rodata", ".bss", ".kconfig"];

/// The pins of one node.
#[derive(Debug, Clone)]
pub struct Pins {
    directory: PathBuf,
}

impl Pins {
    /// `directory`: in the BPF file system.
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Whether programs were attached for good.
    pub fn are_live(&self) -> bool {
        self.live().is_dir()
    }

    /// Where the map is pinned once everything is.
    pub fn map(&self, name: &str) -> PathBuf {
        self.live().join("maps").join(file_name(name))
    }

    fn live(&self) -> PathBuf {
        self.directory.join("live")
    }

    fn link(&self, program: &str) -> PathBuf {
        self.live().join("links").join(program)
    }

    /// Lets the object that is about to be loaded use the maps that are pinned.
    ///
    /// # Errors
    /// [`Error::Conflict`] for a map of another layout, with what to do.
    pub(super) fn reuse(&self, open: &mut OpenObject) -> Result<()> {
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            let path = self.map(&name);
            if !is_pinned(&name) || !path.exists() {
                continue;
            }
            let pinned = MapHandle::from_pinned_path(&path)
                .map_err(|error| bpf_error(format!("open the pinned map {name}"), &error))?;
            let Layout { kind, key_size, value_size, max_entries } = Layout::of(&pinned)?;
            let wanted = Layout {
                kind: map.map_type() as u32,
                key_size: map.key_size(),
                value_size: map.value_size(),
                max_entries: map.max_entries(),
            };
            if wanted != (Layout { kind, key_size, value_size, max_entries }) {
                return Err(Error::Conflict {
                    what: format!("the BPF map {name}, pinned at {}", path.display()),
                    holder:
                        "programs of another version, whose records are laid out differently: end the containers of \
                             this node, and start the agent once with --fresh"
                            .into(),
                });
            }
            map.reuse_fd(pinned.as_fd()).map_err(|error| bpf_error(format!("take over the map {name}"), &error))?;
        }
        Ok(())
    }

    /// Pins all of an object that is attached for the first time, at once.
    pub(super) fn make_live(&self, object: &Object, links: &mut [(&'static str, Link)]) -> Result<()> {
        let new = self.directory.join("new");
        // Of a run that was cut short.
        remove_tree(&new)?;
        for directory in ["maps", "links"] {
            let path = new.join(directory);
            fs::create_dir_all(&path).map_err(|error| failed("mkdir", &path, error))?;
        }
        self.pin_maps(object, &new.join("maps"))?;
        for (name, link) in links {
            pin_link(link, &new.join("links").join(name))?;
        }
        let live = self.live();
        fs::rename(&new, &live).map_err(|error| failed("rename", &live, error))
    }

    /// Pins the maps that no earlier version had, and the contents of a section that was loaded anew.
    pub(super) fn add_maps(&self, object: &Object) -> Result<()> {
        self.pin_maps(object, &self.live().join("maps"))
    }

    fn pin_maps(&self, object: &Object, directory: &Path) -> Result<()> {
        for map in object.maps() {
            let name = map.name().to_string_lossy().into_owned();
            let path = directory.join(file_name(&name));
            if is_pinned(&name) && !path.exists() {
                MapHandle::try_from(&map)
                    .and_then(|mut map| map.pin(&path))
                    .map_err(|error| bpf_error(format!("pin the map {name}"), &error))?;
            }
        }
        Ok(())
    }

    /// The link that the former agent had attached, if it has.
    pub(super) fn pinned_link(&self, program: &str) -> Result<Option<Link>> {
        let path = self.link(program);
        if !path.exists() {
            return Ok(None);
        }
        Link::open(&path).map(Some).map_err(|error| bpf_error(format!("open the pinned link of {program}"), &error))
    }

    /// Puts a link in the place of the one that is pinned, which ends with that.
    pub(super) fn put_link(&self, program: &str, link: &mut Link) -> Result<()> {
        let path = self.link(program);
        let beside = path.with_file_name(format!("{program}-new"));
        remove_file(&beside)?;
        pin_link(link, &beside)?;
        fs::rename(&beside, &path).map_err(|error| failed("rename", &path, error))
    }

    /// Detaches what no program of ours is attached by any more.
    pub(super) fn keep_links(&self, programs: &[&str]) -> Result<()> {
        let directory = self.live().join("links");
        let entries = fs::read_dir(&directory).map_err(|error| failed("readdir", &directory, error))?;
        for entry in entries {
            let path = entry.map_err(|error| failed("readdir", &directory, error))?.path();
            if !path.file_name().is_some_and(|name| programs.iter().any(|program| name == *program)) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Everything ends that no process has open.
    pub fn remove(&self) -> Result<()> {
        // Entrances before guards, and the maps last; all that is in no particular order is behind a closed door then.
        for program in super::loader::ENTRANCES {
            remove_file(&self.link(program))?;
        }
        remove_tree(&self.live())?;
        remove_tree(&self.directory.join("new"))
    }
}

/// What two maps must have in common.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

impl Layout {
    fn of(map: &MapHandle) -> Result<Self> {
        let info =
            MapInfo::new(map.as_fd()).map_err(|error| bpf_error("ask for the layout of a pinned map", &error))?.info;
        Ok(Self {
            kind: info.type_,
            key_size: info.key_size,
            value_size: info.value_size,
            max_entries: info.max_entries,
        })
    }
}

fn is_pinned(map: &str) -> bool {
    !OWN_SECTIONS.iter().any(|section| map.ends_with(section))
}

/// The BPF file system keeps names with dots for itself.
fn file_name(map: &str) -> String {
    map.replace('.', "_")
}

fn pin_link(link: &mut Link, path: &Path) -> Result<()> {
    link.pin(path).map_err(|error| bpf_error(format!("pin a link at {}", path.display()), &error))
}

fn remove_file(path: &Path) -> Result<()> {
    tolerate(fs::remove_file(path), path)
}

fn remove_tree(path: &Path) -> Result<()> {
    tolerate(fs::remove_dir_all(path), path)
}

fn tolerate(outcome: io::Result<()>, path: &Path) -> Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("unlink", path, error)),
        _ => Ok(()),
    }
}

fn failed(syscall: &'static str, path: &Path, error: io::Error) -> Error {
    Error::system(syscall, format!("pinning at {}", path.display()), error)
}
