//! As much of Markdown as our pages use.

/// A page, read.
pub struct Page {
    /// The anchors of its headings.
    pub anchors: Vec<String>,
    /// Where its links lead, images among them.
    pub links: Vec<String>,
    /// Its fenced blocks: the word after the fence, the line where it begins, and what it holds.
    pub blocks: Vec<Block>,
}

/// A fenced block.
pub struct Block {
    /// The word after the fence.
    pub language: String,
    /// The line of the fence, from 1.
    pub line: usize,
    /// What it holds.
    pub text: String,
}

impl Page {
    /// Reads a page.
    pub fn read(text: &str) -> Self {
        let mut page = Self { anchors: Vec::new(), links: Vec::new(), blocks: Vec::new() };
        let mut open: Option<Block> = None;
        let mut prose = String::new();
        let mut before_is_blank = true;
        for (index, line) in text.lines().enumerate() {
            if let Some(block) = &mut open {
                if line.trim_start().starts_with("```") {
                    page.blocks.extend(open.take());
                } else {
                    block.text += line;
                    block.text.push('\n');
                }
                continue;
            }
            if let Some(language) = line.trim_start().strip_prefix("```") {
                open = Some(Block { language: language.trim().to_owned(), line: index + 1, text: String::new() });
                before_is_blank = false;
                continue;
            }
            // A block of code by indentation begins after a blank line.
            if line.starts_with("    ") && before_is_blank {
                continue;
            }
            before_is_blank = line.trim().is_empty();
            if line.starts_with('#') {
                page.add_heading(line.trim_start_matches('#').trim());
            }
            prose += line;
            prose.push('\n');
        }
        assert!(open.is_none(), "a block has no end");
        page.links = links(&without_code(&prose));
        page
    }

    fn add_heading(&mut self, heading: &str) {
        let anchor = anchor(heading);
        let same = |other: &&String| **other == anchor || other.strip_prefix(&format!("{anchor}-")).is_some();
        let number = self.anchors.iter().filter(same).count();
        let is_taken = self.anchors.contains(&anchor);
        self.anchors.push(if is_taken { format!("{anchor}-{number}") } else { anchor });
    }
}

/// The anchor of a heading, as forges and mdBook make it.
fn anchor(heading: &str) -> String {
    let kept = |letter: char| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then(|| letter.to_ascii_lowercase()),
    };
    heading.chars().filter_map(kept).collect()
}

fn without_code(prose: &str) -> String {
    let mut kept = String::new();
    let mut rest = prose;
    while let Some(begin) = rest.find('`') {
        kept.push_str(&rest[..begin]);
        let marks = rest[begin..].chars().take_while(|letter| *letter == '`').count();
        let (fence, inside) = rest[begin..].split_at(marks);
        match inside.find(fence) {
            Some(end) => rest = &inside[end + marks..],
            None => {
                kept.push_str(fence);
                rest = inside;
            }
        }
    }
    kept + rest
}

fn links(prose: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut rest = prose;
    while let Some(begin) = rest.find("](") {
        rest = &rest[begin + 2..];
        let end = rest.find(')').unwrap_or_else(|| panic!("a link has no end: {rest:.60}"));
        links.push(rest[..end].to_owned());
    }
    links
}

#[test]
fn what_is_code_is_no_link_and_no_heading() {
    let page = Page::read(
        "# A page, `read`\n[a](b.md#c) `[no](link)`\n\n    [nor](this)\n\n```sh\n# nor this\nls [x](y)\n```\n## It's twice\n## It's twice\n",
    );
    assert_eq!(page.anchors, ["a-page-read", "its-twice", "its-twice-1"]);
    assert_eq!(page.links, ["b.md#c"]);
    assert_eq!(page.blocks.len(), 1);
    assert_eq!((&*page.blocks[0].language, page.blocks[0].line), ("sh", 6));
    assert_eq!(page.blocks[0].text, "# nor this\nls [x](y)\n");
}
