//! What stands between the brackets of a class.

use super::{class::Class, escape::SYNTAX, reader::Reader};

/// An item of a class.
enum Item {
    /// With that number.
    One(u32),
    /// It was added to the class.
    Several,
}

impl Reader<'_> {
    /// Behind the bracket that opens it.
    pub(super) fn class(&mut self) -> Result<Class, String> {
        let opened_at = self.at;
        let mut class = Class::new(self.eat('^'));
        loop {
            let Some(c) = self.next() else {
                return Err(format!("'[' is not closed (character {opened_at})"));
            };
            if c == ']' {
                return Ok(class);
            }
            let first = self.item(c, &mut class)?;
            if !self.eat('-') {
                class.add_item(&first);
                continue;
            }
            match self.peek() {
                // A hyphen at the end is one.
                Some(']') | None => {
                    class.add_item(&first);
                    class.add_item(&Item::One('-'.into()));
                }
                Some(_) => self.range(&first, &mut class)?,
            }
        }
    }

    /// Behind the hyphen.
    fn range(&mut self, first: &Item, class: &mut Class) -> Result<(), String> {
        let Some(c) = self.next() else {
            return Ok(());
        };
        match (first, self.item(c, class)?) {
            (Item::One(first), Item::One(last)) if *first <= last => class.add_codes(*first, last),
            (Item::One(_), Item::One(_)) => return self.wrong("a range is out of order"),
            _ => {
                return self.wrong(
                    "a class such as \\w is no end of a range: put the hyphen at the end, or write \\-",
                );
            }
        }
        Ok(())
    }

    fn item(&mut self, c: char, class: &mut Class) -> Result<Item, String> {
        if c != '\\' {
            return Ok(Item::One(c.into()));
        }
        if self.eat('b') {
            return Ok(Item::One(8));
        }
        if self.eat('-') {
            return Ok(Item::One('-'.into()));
        }
        Ok(match self.class_escape(class, SYNTAX)? {
            Some(code) => Item::One(code),
            None => Item::Several,
        })
    }
}

impl Class {
    fn add_item(&mut self, item: &Item) {
        if let Item::One(code) = item {
            self.add_codes(*code, *code);
        }
    }
}
