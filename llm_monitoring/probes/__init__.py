"""Fixed questions to a model, asked again and again, to notice that the model behind a name was changed."""
