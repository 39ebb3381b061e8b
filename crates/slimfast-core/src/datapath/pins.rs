//! Where a node's maps and links are kept when no process has them open: a directory of the BPF file system.
//!
//! ```text
//! DIRECTORY/live/maps/NAME    from the moment that everything is attached
//! DIRECTORY/live/links/NAME   named after their programs
//! DIRECTORY/live/layout       a symbolic link to the number of the maps' layout
//! DIRECTORY/new/…             while that is prepared; renamed as a whole
//! ```
//!
//! What becomes of maps of another layout is in [`super::layouts`].

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use libbpf_rs::{Link, MapCore as _, MapHandle, Object, OpenObject};

use super::bpf_error;
use super::layouts::{self, Build, Convert, FIRST, Fate, Layout};
use super::loader::map_of;
use crate::error::{Error, Result};

/// Begin with their object's name; their contents belong to the programs of one object, and go with it.
const OWN_SECTIONS: [&str; 3] = [".rodata", ".bss", ".kconfig"];

/// Name of the link that says which layout the maps have.
const LAYOUT: &str = "layout";

/// What always works.
const AFRESH: &str = "end the containers of this node, and start the agent once with --fresh";

/// A pinned map that the programs about to be loaded have in another layout.
#[derive(Debug)]
pub(super) struct Former {
    name: String,
    map: MapHandle,
    convert: Convert,
}

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

    /// Lets the object that is about to be loaded use the maps that are pinned, and says which of them it cannot use as they
    /// are.
    ///
    /// # Errors
    /// [`Error::Conflict`] for maps of a layout that `build` knows nothing of, with what to do.
    pub(super) fn reuse(&self, open: &mut OpenObject, build: &Build) -> Result<Vec<Former>> {
        self.check_layout(build)?;
        let mut converted = Vec::new();
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            let path = self.map(&name);
            if !is_pinned(&name) || !path.exists() {
                continue;
            }
            let pinned = MapHandle::from_pinned_path(&path)
                .map_err(|error| bpf_error(format!("open the pinned map {name}"), &error))?;
            match build.fate(&name, Layout::of(&pinned)?, Layout::wanted(&map)) {
                Some(Fate::Reused) => map
                    .reuse_fd(pinned.as_fd())
                    .map_err(|error| bpf_error(format!("take over the map {name}"), &error))?,
                Some(Fate::Converted(convert)) => converted.push(Former { name, map: pinned, convert }),
                None => {
                    return Err(Error::Conflict {
                        what: format!("the BPF map {name}, pinned at {}", path.display()),
                        holder: format!(
                            "programs of another version, whose records are laid out differently; all goes on as it is: {AFRESH}"
                        ),
                    });
                }
            }
        }
        Ok(converted)
    }

    fn check_layout(&self, build: &Build) -> Result<()> {
        let (pinned, known) = (self.layout()?, build.layout);
        if pinned == known || pinned + 1 == known {
            return Ok(());
        }
        let other = if pinned < known {
            "older than the one before this agent's: start agents of the versions in between, one after the other"
        } else {
            "newer than this agent: start one of that version"
        };
        Err(Error::Conflict {
            what: format!(
                "the BPF maps pinned at {}, of layout {pinned} (this agent's is {known}),",
                self.live().display()
            ),
            holder: format!("programs of a version that is {other}; all goes on as it is. Or {AFRESH}"),
        })
    }

    fn layout(&self) -> Result<u32> {
        let path = self.live().join(LAYOUT);
        match fs::read_link(&path) {
            Ok(number) => number
                .to_str()
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| failed("readlink", &path, io::ErrorKind::InvalidData.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FIRST),
            Err(error) => Err(failed("readlink", &path, error)),
        }
    }

    /// Fills the maps of an object that is loaded and not attached yet from their predecessors.
    pub(super) fn convert(object: &Object, formers: &[Former]) -> Result<()> {
        for Former { name, map, convert } in formers {
            layouts::convert(map, &map_of(object, name)?, *convert)?;
        }
        Ok(())
    }

    /// The last step of an upgrade, when the programs run already: if it is not reached, the next agent finds the former maps,
    /// in which all is as it was, and takes this path once more.
    pub(super) fn replace(&self, object: &Object, formers: &[Former], build: &Build) -> Result<()> {
        for Former { name, .. } in formers {
            let path = self.map(name);
            let beside = path.with_file_name(format!("{}-new", file_name(name)));
            remove_file(&beside)?;
            pin_map(&mut map_of(object, name)?, &beside)?;
            fs::rename(&beside, &path).map_err(|error| failed("rename", &path, error))?;
        }
        if self.layout()? != build.layout {
            let (path, beside) = (self.live().join(LAYOUT), self.live().join("layout-new"));
            remove_file(&beside)?;
            say_layout(build, &beside)?;
            fs::rename(&beside, &path).map_err(|error| failed("rename", &path, error))?;
        }
        Ok(())
    }

    /// Pins all of an object that is attached for the first time, at once.
    pub(super) fn make_live(&self, object: &Object, links: &mut [(&'static str, Link)], build: &Build) -> Result<()> {
        let new = self.directory.join("new");
        // Of a run that was cut short.
        remove_tree(&new)?;
        for directory in ["maps", "links"] {
            let path = new.join(directory);
            fs::create_dir_all(&path).map_err(|error| failed("mkdir", &path, error))?;
        }
        say_layout(build, &new.join(LAYOUT))?;
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
                let mut map = MapHandle::try_from(&map)
                    .map_err(|error| bpf_error(format!("duplicate BPF map {name}"), &error))?;
                pin_map(&mut map, &path)?;
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

fn is_pinned(map: &str) -> bool {
    !OWN_SECTIONS.iter().any(|section| map.ends_with(section))
}

/// The BPF file system keeps names with dots for itself.
fn file_name(map: &str) -> String {
    map.replace('.', "_")
}

fn pin_map(map: &mut MapHandle, path: &Path) -> Result<()> {
    map.pin(path).map_err(|error| bpf_error(format!("pin a map at {}", path.display()), &error))
}

fn say_layout(build: &Build, path: &Path) -> Result<()> {
    symlink(build.layout.to_string(), path).map_err(|error| failed("symlink", path, error))
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
