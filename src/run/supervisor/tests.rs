mod promises;
mod stories;
mod world;

use super::*;
