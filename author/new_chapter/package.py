"""Chapter title: WRITE: the question of a working engineer that the chapter answers?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {"part_slug.chapter_slug.chapter_slug": ["busy_servers", "busy_share"]},
)
