#!/usr/bin/env python3
"""Sends the mails that are due: contacts and scheduled mails in one SQLite database.

    scheduler.py DATABASE [--today YYYY-MM-DD] [--seed]

Makes the tables where there are none; with --seed, some contacts too. A contact gets a mail on their birthday and one
a month before their policy renews. A mail is marked as sent in the transaction that writes it to the outbox, so that a
run that is cut off and repeated sends none twice.
"""
import argparse
import datetime
import sqlite3
import sys

SCHEMA = """
CREATE TABLE IF NOT EXISTS contact (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, mail TEXT NOT NULL UNIQUE, born TEXT NOT NULL, renews TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS scheduled (
    id INTEGER PRIMARY KEY, contact INTEGER NOT NULL REFERENCES contact, kind TEXT NOT NULL, due TEXT NOT NULL,
    sent_at TEXT, UNIQUE (contact, kind, due)
);
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, mail TEXT NOT NULL, subject TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS scheduled_due ON scheduled(due) WHERE sent_at IS NULL;
"""

CONTACTS = [
    ("Ada Lovelace", "ada@example.org", "1815-12-10", "2026-04-01"),
    ("Grace Hopper", "grace@example.org", "1906-12-09", "2026-06-15"),
    ("Edsger Dijkstra", "edsger@example.org", "1930-05-11", "2026-12-31"),
]

SUBJECTS = {"birthday": "Happy birthday, {}", "renewal": "{}, your policy renews next month"}


def in_year(date, year):
    """The same day in another year; the 29th of February is the 28th where there is none."""
    day = datetime.date.fromisoformat(date)
    try:
        return day.replace(year=year)
    except ValueError:
        return day.replace(year=year, day=28)


def plan(database, today):
    """Schedules what comes within the next year."""
    for contact, born, renews in database.execute("SELECT id, born, renews FROM contact").fetchall():
        for year in (today.year, today.year + 1):
            for kind, due in (
                ("birthday", in_year(born, year)),
                ("renewal", in_year(renews, year) - datetime.timedelta(days=30)),
            ):
                if today <= due <= today + datetime.timedelta(days=365):
                    database.execute(
                        "INSERT OR IGNORE INTO scheduled(contact, kind, due) VALUES (?, ?, ?)",
                        (contact, kind, due.isoformat()),
                    )


def send(database, today):
    """Sends what is due, each mail in a transaction of its own. Answers how many there were."""
    due = database.execute(
        "SELECT scheduled.id, kind, name, mail FROM scheduled JOIN contact ON contact.id = contact"
        " WHERE sent_at IS NULL AND due <= ? ORDER BY due, scheduled.id",
        (today.isoformat(),),
    ).fetchall()
    for number, kind, name, mail in due:
        with database:
            database.execute("INSERT INTO outbox(mail, subject) VALUES (?, ?)", (mail, SUBJECTS[kind].format(name)))
            database.execute("UPDATE scheduled SET sent_at = ? WHERE id = ?", (today.isoformat(), number))
        print(f"sent: {SUBJECTS[kind].format(name)} <{mail}>")
    return len(due)


def main():
    parser = argparse.ArgumentParser(description="Sends the mails that are due.")
    parser.add_argument("database")
    parser.add_argument("--today", type=datetime.date.fromisoformat, default=datetime.date.today())
    parser.add_argument("--seed", action="store_true")
    arguments = parser.parse_args()
    database = sqlite3.connect(arguments.database)
    database.execute("PRAGMA journal_mode = wal")
    database.executescript(SCHEMA)
    with database:
        if arguments.seed:
            database.executemany(
                "INSERT OR IGNORE INTO contact(name, mail, born, renews) VALUES (?, ?, ?, ?)", CONTACTS
            )
        plan(database, arguments.today)
    sent = send(database, arguments.today)
    planned = database.execute("SELECT count(*) FROM scheduled WHERE sent_at IS NULL").fetchone()[0]
    print(f"{sent} sent, {planned} planned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
