"""What is asked: fields and their rules, names and grids, traffic, load tests, promises."""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {
        "planner.questions.questions": ["read_choices", "read_question"],
    },
)
