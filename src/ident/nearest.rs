//! What a misspelled word may have been meant to be.

/// The most letters in which a word may differ from what it was meant to be.
const LETTERS_MAX: usize = 3;

/// The known word that is nearest, if it is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters_max = LETTERS_MAX.min(word.chars().count().saturating_sub(1));
    let by_distance = known.into_iter().map(|name| (distance(word, name), name));
    let (letters, name) = by_distance.min_by_key(|(letters, _)| *letters)?;
    (letters <= letters_max).then_some(name)
}

/// How many letters must be put in, left out or replaced (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other_letter) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other_letter);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_near_if_few_letters_differ() {
        let known = ["homepage", "version", "id"];
        assert_eq!(nearest("home-page", known), Some("homepage"));
        assert_eq!(nearest("versoin", known), Some("version"));
        assert_eq!(nearest("ix", known), Some("id"));
        assert_eq!(nearest("xy", known), None);
        assert_eq!(nearest("stack", known), None);
    }
}
