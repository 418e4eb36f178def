#include "demos/cli.h"

#include <hornet/backbone/error.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <typeinfo>

namespace hornet::cli {
namespace {

constexpr int kSmallestSide = 32, kLargestSide = 65536;

double as_number(const boost::program_options::variable_value& value) {
  if (const auto* number = boost::any_cast<int>(&value.value())) return *number;
  return value.as<double>();
}

// What an option takes, for a value that it does not.
std::string expected_value(const po::options_description& options, const std::string& option) {
  const auto* found = options.find_nothrow(option.substr(option.find_first_not_of('-')), false);
  if (found == nullptr) return "another value";
  const auto* typed = dynamic_cast<const po::typed_value_base*>(found->semantic().get());
  return typed != nullptr && typed->value_type() == typeid(int) ? "a whole number below 2^31"
                                                                : "a number";
}

// "4,3,2" as numbers; nothing if it is not a list of them.
template <typename T>
std::vector<T> parse_numbers(const std::string& text) {
  std::vector<T> numbers;
  std::istringstream stream(text);
  for (std::string item; std::getline(stream, item, ',');) {
    std::istringstream number(item);
    T value = 0;
    number >> value;
    if (number.fail() || number.peek() != std::istringstream::traits_type::eof()) return {};
    numbers.push_back(value);
  }
  return numbers;
}

po::parsed_options parse_line(const po::options_description& options, int argc, char** argv) {
  po::parsed_options parsed = po::command_line_parser(argc, argv).options(options).run();
  for (const auto& option : parsed.options) {
    if (option.position_key < 0) continue;
    throw po::error("unexpected argument '" + option.value.front() +
                    "', every value needs its option");
  }
  return parsed;
}

// The file that an option names, whichever way it is spelled.
std::optional<std::filesystem::path> file_of(const po::variables_map& values,
                                             const std::string& option) {
  if (!values.count(option) || values[option].as<std::string>() == "-") return std::nullopt;
  std::error_code ignored;  // of a name that cannot exist: opening it will say so
  const std::filesystem::path path = values[option].as<std::string>();
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path, ignored), ignored);
}

}  // namespace

std::optional<po::variables_map> parse(Command command, int argc, char** argv) {
  command.options.add_options()("help,h", "show this help");
  const std::string hint = "; see `hornet " + command.name + " --help`";
  po::variables_map values;
  try {
    po::store(parse_line(command.options, argc, argv), values);
    if (values.count("help")) {
      std::cout << command.summary << "\n\nUsage: " << command.usage << "\n\n"
                << command.options << "\nExamples:\n"
                << command.examples << '\n';
      return std::nullopt;
    }
    po::notify(values);
  } catch (const po::invalid_option_value& error) {
    throw Error(ErrorCode::kUsage, std::string(error.what()) + ": expected " +
                                       expected_value(command.options, error.get_option_name()) +
                                       hint);
  } catch (const po::error& error) {
    throw Error(ErrorCode::kUsage, error.what() + hint);
  }
  return values;
}

void add_runtime_options(po::options_description& options, const std::string& types) {
  options.add_options()("device",
                        po::value<std::string>()->default_value("auto")->value_name("NAME"),
                        "auto, cpu, cuda or cuda:N; auto takes a GPU where there is one")(
      "dtype", po::value<std::string>()->default_value("fp32")->value_name("TYPE"),
      (types + "; global filters stay in fp32").c_str());
}

RuntimeOptions runtime_options(const po::variables_map& values) {
  RuntimeOptions options{values["device"].as<std::string>(), values["dtype"].as<std::string>()};
  if (lacks_bf16(options)) {
    std::cerr << "hornet: --dtype bf16: this CPU has no bf16 instructions that are faster than "
                 "float32 (AMX, or AMD's AVX512-BF16); fp32 is what runs\n";
    options.dtype = "fp32";
  }
  return options;
}

void add_raster_options(po::options_description& options) {
  options.add_options()("range", po::value<std::string>()->value_name("LOW,HIGH"),
                        "16-bit and float rasters: the values that become black and white")(
      "bands", po::value<std::string>()->value_name("R,G,B"),
      "bands to take as red, green and blue, or one as gray; from 1");
}

RasterOptions raster_options(const po::variables_map& values) {
  RasterOptions options;
  if (values.count("range")) {
    const auto numbers = parse_numbers<double>(values["range"].as<std::string>());
    if (numbers.size() != 2 || !(numbers[0] < numbers[1])) {
      throw Error(ErrorCode::kUsage, "--range " + values["range"].as<std::string>() +
                                         ": expected LOW,HIGH with LOW below HIGH, for example "
                                         "0,4095");
    }
    options.range = {numbers[0], numbers[1]};
  }
  if (values.count("bands")) {
    options.bands = parse_numbers<int>(values["bands"].as<std::string>());
    const bool positive =
        std::all_of(options.bands.begin(), options.bands.end(), [](int band) { return band >= 1; });
    if (!positive || (options.bands.size() != 1 && options.bands.size() != 3)) {
      throw Error(ErrorCode::kUsage, "--bands " + values["bands"].as<std::string>() +
                                         ": expected one or three numbers from 1, for example "
                                         "4,3,2");
    }
  }
  return options;
}

int64_t parse_bytes(const std::string& text, const std::string& option) {
  std::istringstream stream(text);
  double number = 0;
  char unit = 0;
  stream >> number >> unit;
  const std::string units = "KMGT";
  const size_t power = units.find(static_cast<char>(std::toupper(unit)));
  const double bytes = number * std::pow(1024.0, static_cast<double>(power + 1));
  const bool complete = stream.peek() == std::istringstream::traits_type::eof();
  if (stream.fail() || !complete || power == std::string::npos || !(bytes >= 1) || bytes > 1e18) {
    throw Error(ErrorCode::kUsage,
                option + " " + text + ": expected a size with its unit, for example 512M or 2G");
  }
  return static_cast<int64_t>(bytes);
}

nlohmann::ordered_json arguments_of(const po::variables_map& values) {
  nlohmann::ordered_json out;
  for (const auto& [name, value] : values) {
    if (const auto* text = boost::any_cast<std::string>(&value.value())) out[name] = *text;
    if (const auto* number = boost::any_cast<int>(&value.value())) out[name] = *number;
    if (const auto* real = boost::any_cast<double>(&value.value())) out[name] = *real;
    if (const auto* flag = boost::any_cast<bool>(&value.value())) out[name] = *flag;
  }
  return out;
}

std::string json_text(const nlohmann::ordered_json& document) {
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string status_of(int code) {
  if (code == static_cast<int>(ErrorCode::kPartial)) return "partial";
  if (code == static_cast<int>(ErrorCode::kInterrupted)) return "interrupted";
  return "ok";
}

cv::Size parse_size(const std::string& text, const std::string& option) {
  std::istringstream stream(text);
  int width = 0, height = 0;
  char separator = 0;
  stream >> width;
  if (stream.eof() && !stream.fail()) {
    height = width;
  } else {
    stream >> separator >> height;
  }
  const bool parsed = !stream.fail() && stream.peek() == std::istringstream::traits_type::eof();
  const bool sane =
      std::min(width, height) >= kSmallestSide && std::max(width, height) <= kLargestSide;
  if (!parsed || !sane || (separator != 0 && separator != 'x')) {
    throw Error(ErrorCode::kUsage, option + " " + text +
                                       ": expected WIDTHxHEIGHT in pixels, each from " +
                                       std::to_string(kSmallestSide) + " to " +
                                       std::to_string(kLargestSide) + ", for example 1333x800");
  }
  return {width, height};
}

void check_distinct(const po::variables_map& values, const std::vector<std::string>& outputs,
                    const std::vector<std::string>& inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::vector<std::string> others(inputs);
    others.insert(others.end(), outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(i));
    const auto output = file_of(values, outputs[i]);
    for (const std::string& other : others) {
      if (!output || output != file_of(values, other)) continue;
      throw Error(ErrorCode::kUsage, values[outputs[i]].as<std::string>() + ": is both --" + other +
                                         " and --" + outputs[i] + "; name another file");
    }
  }
}

void check_range(const po::variables_map& values, const std::string& option, double low,
                 double high) {
  const double number = as_number(values[option]);
  if (number >= low && number <= high) return;
  std::ostringstream message;
  message << std::setprecision(12) << "--" << option << ' ' << number << ": expected a value from "
          << low << " to " << high;
  throw Error(ErrorCode::kUsage, message.str());
}

}  // namespace hornet::cli
