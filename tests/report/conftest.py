from html.parser import HTMLParser


class Page(HTMLParser):
    """A page's ids, number of pictures and text, read without a browser."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.words, self.pictures, self.goes_on = set(), [], 0, False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id"))
        self.pictures += tag == "img" and found.get("class") != "map"
        self.goes_on = tag == "wbr"

    def handle_data(self, data):
        if self.goes_on:
            self.words[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())
