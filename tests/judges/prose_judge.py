"""The text that people read: short sentences, usual words, links that lead somewhere.

    .venv/bin/python tests/judges/prose_judge.py target/debug/pinpoint-exporter
    .venv/bin/python tests/judges/prose_judge.py --report README.md …      # words and sentence lengths

It reads every Markdown page of the tree, the HELP texts of the golden scrape, the texts of the alerts, and what `--help` prints. The
titles and descriptions of the dashboards' panels are in the tables of `grafana/README.md`.

proselint and write-good were tried: the first finds none of the sentences in `BAD`, the second objects to every "is read" and
"several". So the rules are here, and markdown-it reads the Markdown.
"""

import collections
import pathlib
import re
import subprocess
import sys
import unittest
from dataclasses import dataclass
from urllib.parse import unquote

import yaml
from markdown_it import MarkdownIt

from limits import HANG_LIMIT

ROOT = pathlib.Path(__file__).parents[2]
REPOSITORY = "https://github.com/pinpoint-exporter/pinpoint-exporter"
EXPORTER = None

MOST_WORDS = 30
# The mean of a page with at least so many sentences.
MOST_MEAN_WORDS, FEW_SENTENCES = 17, 20
MOST_PASSIVE = 0.4

# Pages of people outside this project are not held to it.
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=HANG_LIMIT,
    ).stdout.split("\0")
    if name and (ROOT / name).exists()
)

# What not to write, and what to write instead.
TURNS = [
    (r"^(?:Who|Whoever|Whom|Whose) (?![^,]+, (?:as|in) |.*[?:]$)", "name the subject: \"A client that …\""),
    (r"^(?:What|Whatever) (?!to |[^,]+, (?:as|in) |.*[?:]$)", "name the subject instead of a clause: \"Files that …\""),
    (r"^That which ", "name the subject"),
    (r"^Of (?!course|the \d|\d)", "put the subject first: \"Every response must …\""),
    (r"^(?:So does|So do|So is|So are|Nor|Neither does|Neither do) ", "say it in a sentence of its own"),
    (r"^(?:Not|Never|Only then|Such|Thus|Hence) \w+ (?:is|are|do|does|can|must|will) ", "put the subject first"),
    (r"(?:[,;:]|\band|\bor) who (?:asks?|reads?|sends?|finds?|reach(?:es)?|has|waits?) [^,.]* (?:is|are|gets?|sees?) ", "name the subject: \"a client that …\""),
    (r"\b(?:is|are|was|were|cannot be|can be|to be) (?:to be )?had\b", "\"there is\", \"available\""),
    (r"\bfor the reason that\b", "\"because\""),
    (r"\bfor granted\b", "\"assumes\""),
    (r"\b(?:takes?|taking) [\w ]{1,30} for (?:good|gone|true|right|wrong|one|theirs)\b", "\"treats as\""),
    (r"\b(?:to|for|by|of|from) who\b", "name the person: \"everyone who …\""),
    (r"\bin force\b", "\"in use\", \"in effect\""),
    (r"\bwithout more\b", "\"by default\""),
    (r"\b(?:be it|so be it|be that as)\b", "\"whether … or\""),
    (r"\bfor ever\b", "\"never ends\", \"always\""),
    (r"\b(?:is|are|be) mended\b|\bmends?\b", "\"fix\", \"correct\""),
    (r"\b(?:anew|afresh)\b", "\"again\""),
    (r"\bbeforehand\b", "\"before\""),
    (r"\bgo(?:es)? on\b", "\"continue\""),
    (r"\bcome (?:of|to nothing)\b|\bcame of\b", "\"result\""),
    (r"\b(?:tells?|told) of\b", "\"reports\", \"shows\""),
    (r"\bby itself what\b|\bin whose name\b", "\"whose credentials\", \"the caller\""),
    (r"\bas (?:there|here)\b", "name the place"),
    (r"\b(?:passed off|pass for|taken for(?! granted))\b", "\"counts as\", \"treats as\""),
    (r"\b(?:shall|ought|lest|ere|amid|amongst|whilst|unto|thence|whence|hither|thither|hitherto)\b", "a usual word"),
    (r"\b(?:thereof|therein|thereby|thereto|thereupon|wherein|whereby|whereupon|whereof|herein|hereby|heretofore|aforementioned)\b", "a usual word"),
    (r"\b(?:nought|naught|aught|albeit|henceforth|forthwith|notwithstanding|inasmuch|insofar|save for|but for (?:the|those|that|its?))\b", "a usual word, such as \"except\""),
    (r"\b(?:wholly|manifold|sundry|divers|betimes|perchance|mayhap)\b", "a usual word"),
    (r"\b(?:in order to)\b", "\"to\""),
    (r"\b(?:due to the fact that|in the event that|at this point in time)\b", "fewer words"),
    (r"\b(?:utili[sz]e[sd]?|leverages?|seamless(?:ly)?|blazing(?:ly)?|effortless(?:ly)?|robust(?:ly)?)\b", "a plain word"),
    (r"\b(?:simply|obviously|of course|needless to say|as everyone knows)\b", "leave it out"),
    (r"\bone (?:would|could|may|might|must|should)\b", "\"you\""),
]
TURNS = [(re.compile(turn, re.IGNORECASE if not turn.startswith("^") else 0), advice) for turn, advice in TURNS]

PASSIVE = re.compile(
    r"\b(?:is|are|was|were|be|been|being|gets|get)(?: (?:not|never|always|also|only|then|\w+ly))? "
    r"(?:\w+ed|made|read|sent|shown|kept|held|known|given|taken|found|written|drawn|seen|said|told|built|cut|set|put|met|run|lost)\b")


@dataclass(frozen=True)
class Sentence:
    """A sentence, where it is, and whether it is one: a cell of a table or a heading may be less."""

    place: str
    text: str
    whole: bool

    @property
    def words(self):
        return len(re.findall(r"[\w'’…%-]*\w[\w'’…%-]*", self.text))

    def __str__(self):
        return f"{self.place}: {self.text}"


ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|approx|St|Nr|No)\.$")


def split(text):
    """The sentences of a paragraph."""
    begin = 0
    for end in re.finditer(r"[.!?]['\"”)]*(?=\s+[\"“(‘]?[A-Z0-9`])|[.!?]['\"”)]*$", text):
        if not ABBREVIATION.search(text[begin:end.start() + 1]):
            yield text[begin:end.end()].strip()
            begin = end.end()
    if text[begin:].strip():
        yield text[begin:].strip()


def words_of(token):
    """The text of a paragraph. Code is one word, and a link is what it shows."""
    text, begins = "", 0
    for child in token.children or ():
        match child.type:
            case "text":
                text += re.sub(r"https?://\S+", "URL", child.content)
            case "code_inline":
                # In capitals, since a sentence may start with it.
                text += "CODE"
            case "softbreak" | "hardbreak":
                text += " "
            case "image":
                text += words_of(child)
            case "link_open":
                # The name of a file may begin a sentence.
                begins = len(text)
            case "link_close" if re.search(r"(?:^|[.!?:] )$", text[:begins]):
                text = text[:begins] + text[begins:begins + 1].upper() + text[begins + 1:]
    return re.sub(r"\s+", " ", text).strip()


def markdown():
    return MarkdownIt("commonmark").enable("table")


def sentences_of(page, name):
    """The sentences of a page."""
    inside, line = [], 0
    for token in markdown().parse(page):
        if token.map:
            line = token.map[0] + 1
        if token.nesting == 1:
            inside.append(token.type)
        elif token.nesting == -1:
            inside.pop()
        elif token.type == "inline":
            is_cell = inside[-1] in ("td_open", "th_open")
            is_whole = not is_cell and inside[-1] != "heading_open"
            for text in split(words_of(token)):
                # A cell may be a list of things.
                for part in re.split(r";\s", text) if is_cell else [text]:
                    yield Sentence(f"{name}:{line}", part, is_whole)


def faults(sentences):
    """What is wrong with the sentences."""
    for sentence in sentences:
        if sentence.words > MOST_WORDS:
            yield f"{sentence.words} words, at most {MOST_WORDS}: {sentence}"
        for turn, advice in TURNS:
            # A clause may head a column or a section.
            is_clause = turn.pattern.startswith("^") and not sentence.text.endswith((".", ":"))
            if not is_clause and (found := turn.search(sentence.text)):
                yield f"{found[0].strip()!r}; {advice}: {sentence}"


def mean(sentences):
    return sum(sentence.words for sentence in sentences) / max(1, len(sentences))


def passive_share(sentences):
    return sum(1 for sentence in sentences if PASSIVE.search(sentence.text)) / max(1, len(sentences))


def helps():
    """The HELP texts of the golden scrape."""
    scrape = (ROOT / "tests/it/golden/metrics.txt").read_text(encoding="utf-8")
    for name, text in re.findall(r"^# HELP (\w+) (.*)$", scrape, re.MULTILINE):
        yield from (Sentence(f"HELP {name}", sentence, True) for sentence in split(text))


def alerts():
    """The texts of the alerts, with a word for each value that Prometheus fills in."""
    for file in sorted((ROOT / "deploy/prometheus/rules").glob("*.yaml")):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                for name in ("summary", "description"):
                    text = rule.get("annotations", {}).get(name, "")
                    text = re.sub(r"\{\{-?\s*(?:with|if|else|end|range|define|block)\b.*?\}\}", "", text, flags=re.DOTALL)
                    text = re.sub(r"\{\{.*?\}\}", "VALUE", text, flags=re.DOTALL)
                    for sentence in split(re.sub(r"\s+", " ", text)):
                        yield Sentence(f"{rule['alert']}, {name}", sentence, True)


def usage():
    """What `--help` prints, each paragraph in one line."""
    ended = subprocess.run(
        [EXPORTER, "--help"], check=True, capture_output=True, text=True, timeout=HANG_LIMIT, env={})
    paragraph = ""
    for line in [*ended.stdout.splitlines(), ""]:
        indented = len(line) - len(line.lstrip())
        # What is indented deeper continues the line before, as do two columns.
        begins = not line.strip() or indented < 6 or re.match(r" {6}--", line)
        if begins and paragraph:
            # The name and its meaning are columns.
            for part in re.split(r"\s{2,}|; ", paragraph):
                yield from (Sentence("--help", sentence, False) for sentence in split(part))
            paragraph = ""
        paragraph += f"  {line.strip()}" if indented <= 6 else f" {line.strip()}"


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page):
    """The anchors of a page's headings."""
    seen, found = collections.Counter(), set()
    tokens = markdown().parse(page.read_text(encoding="utf-8"))
    for before, token in zip(tokens, tokens[1:]):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children if child.type in ("text", "code_inline"))
            anchor = slug(text)
            found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
    return found


def links_of(page):
    """What a page links to and shows."""
    def walk(tokens):
        for token in tokens:
            if address := token.attrGet("href") or token.attrGet("src"):
                yield address
            yield from walk(token.children or ())

    yield from walk(markdown().parse(page.read_text(encoding="utf-8")))


def local(page, address):
    """The file and the anchor of a link into this tree, or None."""
    if found := re.match(rf"{REPOSITORY}/(?:blob|tree)/main/(.*)", address):
        page, address = ROOT / "README.md", found[1]
    if re.match(r"\w+:", address):
        return None
    path, _, anchor = address.partition("#")
    return (page.parent / unquote(path)).resolve() if path else page, anchor


BAD = [
    ("Who finds none is answered 429.", "name the subject"),
    ("What is new appears without a restart.", "name the subject"),
    ("Of every answer must hold that it is whole.", "subject first"),
    ("A client who sends them often gets 429 and who waits long is cut.", "name the subject"),
    ("There is no thread to be had.", "available"),
    ("It stops, for the reason that the disk is full.", "because"),
    ("It takes an interval of 1m for granted.", "assumes"),
    ("Without more the port is open.", "by default"),
    ("The port is open to who can reach it.", "everyone who"),
    ("A load balancer may take 401 for good.", "treats as"),
    ("So do the settings of a profile.", "sentence of its own"),
    ("The file is wrong until it is mended.", "fix"),
    ("The list is fetched anew.", "again"),
    ("The log tells of targets that fail.", "reports"),
    ("The exporter, whilst it waits, answers.", "usual word"),
    ("This is simply a file.", "leave it out"),
    (" ".join(["Word"] * 31) + ".", "31 words"),
]


class Prose(unittest.TestCase):
    def judge(self, sentences):
        sentences = list(sentences)
        self.assertGreater(len(sentences), 0)
        if found := list(faults(sentences)):
            self.fail("rewrite these sentences:\n" + "\n".join(found))

    def test_every_page_is_plain(self):
        self.assertGreater(len(PAGES), 30)
        for page in PAGES:
            name = str(page.relative_to(ROOT))
            with self.subTest(name):
                sentences = list(sentences_of(page.read_text(encoding="utf-8"), name))
                self.judge(sentences)
                whole = [sentence for sentence in sentences if sentence.whole]
                if len(whole) >= FEW_SENTENCES:
                    self.assertLessEqual(mean(whole), MOST_MEAN_WORDS, "words per sentence on average")
                    self.assertLessEqual(passive_share(whole), MOST_PASSIVE, "share of sentences in the passive")

    def test_every_help_text_is_plain(self):
        self.judge(helps())

    def test_every_text_of_an_alert_is_plain(self):
        self.judge(alerts())

    def test_the_help_of_the_command_line_is_plain(self):
        self.judge(usage())

    def test_a_bad_sentence_is_noticed(self):
        for text, advice in BAD:
            with self.subTest(text):
                found = list(faults(sentences_of(f"# Page\n\nA good sentence. {text} Another one.\n", "page")))
                self.assertEqual(1, len(found), found)
                self.assertIn(advice, found[0])
                self.assertIn("page:3", found[0])

    def test_a_sentence_is_found_in_a_list_a_table_and_a_quote(self):
        for page in ("- one\n- {}", "| a | b |\n| --- | --- |\n| one | {} |", "> {}", "1. {}"):
            with self.subTest(page):
                self.assertEqual(1, len(list(faults(sentences_of(page.format(BAD[0][0]), "page")))))

    def test_code_and_links_are_not_prose(self):
        page = "`Who finds none` is [simple](simply.md).\n\n```sh\nWho finds none is answered.\n```\n\n    Who finds none.\n"
        self.assertEqual([], list(faults(sentences_of(page, "page"))))


class Links(unittest.TestCase):
    def test_every_local_link_leads_to_a_file_and_a_heading(self):
        for page in PAGES:
            for address in links_of(page):
                with self.subTest(f"{page.relative_to(ROOT)}: {address}"):
                    if target := local(page, address):
                        file, anchor = target
                        self.assertTrue(file.exists(), "there is no such file")
                        if anchor:
                            self.assertIn(anchor, anchors(file), "there is no such heading")

    def test_every_page_is_linked_from_another_one(self):
        linked = {
            target[0]
            for page in PAGES for address in links_of(page)
            if (target := local(page, address)) and target[0] != page
        }
        # A link to a folder shows its README.
        linked |= {folder / "README.md" for folder in linked if folder.is_dir()}
        alone = [str(page.relative_to(ROOT)) for page in PAGES if page not in linked and page != ROOT / "README.md"]
        self.assertEqual([], alone)

    def test_an_anchor_is_what_github_makes_of_the_heading(self):
        for heading, anchor in [
            ("The JSON API", "the-json-api"),
            ("HTTP: paths, status page", "http-paths-status-page"),
            ("Differences from exporter-toolkit 0.20", "differences-from-exporter-toolkit-020"),
        ]:
            self.assertEqual(slug(heading), anchor)


def report(names):
    """Words, sentences and their length, of each page and of all."""
    total = []
    print("words  sentences  mean  longest  commas  passive  page")
    for name in names:
        sentences = list(sentences_of(pathlib.Path(name).read_text(encoding="utf-8"), name))
        total += sentences
        print_row(name, sentences)
    if len(names) > 1:
        print_row("together", total)


def print_row(name, sentences):
    words = sum(sentence.words for sentence in sentences)
    whole = [sentence for sentence in sentences if sentence.whole] or sentences
    longest = max((sentence.words for sentence in whole), default=0)
    commas = sum(sentence.text.count(",") + sentence.text.count(";") for sentence in whole) / max(1, len(whole))
    print(f"{words:5}  {len(whole):9}  {mean(whole):4.1f}  {longest:7}  {commas:6.2f}  {passive_share(whole):6.0%}  {name}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--report"]:
        report(sys.argv[2:])
    else:
        EXPORTER = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else "target/debug/pinpoint-exporter").resolve()
        unittest.main()
