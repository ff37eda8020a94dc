# %% [markdown]
# # All of it
#
# In order.

# %%
# %matplotlib inline
# %config InlineBackend.figure_formats = ["svg"]
from serving_mathematics.checks import show
from serving_mathematics.drawing import drawn, use_house_style

use_house_style()

# %% [markdown]
# ## part.twice
#
# *What is part.twice?*
