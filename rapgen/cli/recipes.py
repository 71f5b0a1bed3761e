"""`rapgen recipes`: list, show and validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rapgen.cli.options import SetOption

app = typer.Typer(help="List, show and validate recipes.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_recipes() -> None:
    """The recipes that go by a name.

    \b
    rapgen recipes list
    """
    from rapgen.recipe import recipe_paths

    known = sorted(recipe_paths().items())
    width = max(len(name) for name, _ in known)
    for name, path in known:
        typer.echo(f"{name:<{width}}  {_summary(path)}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Recipe, by path or name.")],
    set_: SetOption = None,
) -> None:
    """A recipe with all its defaults, as YAML, with sizes and rates of its stages as comments.

    \b
    rapgen recipes show boombox
    rapgen recipes show base --set stages.coarse.model.width=768
    """
    import yaml

    from rapgen.cli.facts import recipe_lines
    from rapgen.recipe import load_recipe

    recipe = load_recipe(name, set_ or ())
    typer.echo("\n".join(f"# {line}" for line in recipe_lines(recipe)))
    typer.echo(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False), nl=False)


@app.command()
def validate(files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Recipes, by path or name.")]) -> None:
    """Check recipes and tell all that is wrong with them.

    \b
    rapgen recipes validate recipes/*.yaml
    """
    from rapgen.errors import RecipeError
    from rapgen.recipe import load_recipe

    problems = []
    for file in files:
        try:
            load_recipe(file)
        except RecipeError as error:
            problems.append(str(error))
        else:
            typer.echo(f"{file}: ok")
    if problems:
        raise RecipeError("\n".join(problems))


def _summary(path: Path) -> str:
    """The comment that a recipe begins with."""
    first = path.read_text().partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""
