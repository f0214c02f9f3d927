"""What the rows say: belief over causes, slices and starts of one alert. The stages read it from `inquiry`."""
