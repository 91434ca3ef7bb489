//! Real volumes with real data, and every way in which a backup can be without it.
