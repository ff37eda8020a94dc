"""What is answered: a sentence, lines, tables, drawings, costs, and what starts the fleet."""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "planner.answers.answers": ["answer_record", "answer_summary"],
    },
)
