"""A tool of one's own: installed beside Perdure, every worker offers it from its next start."""

from activities.tools import ToolContext, ToolOutput, ToolSpec
from activities.tools.spec import Arguments


class CountWords(Arguments):
    text: str


async def run(arguments: CountWords, _context: ToolContext) -> ToolOutput:
    return ToolOutput(f"{len(arguments.text.split())} words")


TOOL = ToolSpec("count_words", "Counts the words of a text.", CountWords, "safe", "readOnly", 5, 1_000, run)
